"""The command line: ``python -m app serve | worker | analyze | study | demo | check | keys``."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from app import INTERRUPTED, __version__
from app.keys import ROLES

# Each command imports what it needs itself: `--help` is quick, and so is a refusal.


def _serve(arguments: argparse.Namespace) -> int:
    from app.memory import take_little_memory

    sys.setswitchinterval(0.001)
    take_little_memory()  # before there are threads
    from app.server import serve
    from app.settings import Settings

    asked = {"host": arguments.host, "port": arguments.port}
    given = {name: value for name, value in asked.items() if value is not None}
    return serve(Settings(**given))


def _worker(_: argparse.Namespace) -> int:
    from app.memory import take_little_memory

    take_little_memory()  # before there are threads
    from app.settings import Settings

    settings = Settings()
    try:
        from app.worker import work
    except ModuleNotFoundError as error:
        from app.parts import missing_package, refuse_start

        return refuse_start(missing_package(error))
    return work(settings)


def _analyze(arguments: argparse.Namespace) -> int:
    from app.analyze import analyze
    from app.settings import Settings

    given: argparse.Namespace = arguments
    return analyze(Settings(), given.file, given.body_mass_g, given.out, given.profile)


def _study(arguments: argparse.Namespace) -> int:
    from app.study import default_name, study
    from app.study_folder import readable
    from app.study_run import StudyOptions

    folder: Path = arguments.folder
    options = StudyOptions(
        name=readable(arguments.name) if arguments.name else default_name(folder),
        profile=arguments.profile,
        body_mass_g=arguments.body_mass_g,
        figures=arguments.figures,
    )
    return study(
        folder,
        server=arguments.server,
        key_file=arguments.key_file,
        sheet=arguments.sheet,
        out=arguments.out,
        options=options,
        uploads=arguments.uploads,
    )


def _demo(arguments: argparse.Namespace) -> int:
    from app.demo import demo

    out: Path = arguments.out
    return demo(out)


def _check(_: argparse.Namespace) -> int:
    from app.analyze import check
    from app.settings import Settings

    return check(Settings())


def _keys(arguments: argparse.Namespace) -> int:
    from app import keys
    from app.settings import Settings

    path = Settings().keys_file
    try:
        if path is None:
            raise keys.KeysError("say in ECHO2PHENO_KEYS_FILE which file the keys are in.")
        if arguments.keys == "list":
            for key in keys.read_keys(path):
                print(f"{key.name}\t{key.role}\t{key.created_at}\t{key.id}")
        elif arguments.keys == "remove":
            keys.remove_key(path, arguments.name)
        else:
            if arguments.keys == "renew":
                secret = keys.renew_key(path, arguments.name)
            else:
                secret = keys.add_key(path, arguments.name, arguments.role)
            print("This is shown once, and kept nowhere:", file=sys.stderr, flush=True)
            print(secret)
    except keys.KeysError as error:
        print(f"{str(error)[:1].upper()}{str(error)[1:]}", file=sys.stderr)
        return 1
    return 0


def _body_mass(text: str) -> float:
    from app.samples import decimal

    mass = decimal(text)
    if not 0 < mass <= 200:
        raise argparse.ArgumentTypeError("a body mass lies over 0 g and is at most 200 g")
    return mass


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app",
        description="Mouse M-mode echocardiograms in, cardiac phenotypes out. "
        "For research use only. Settings come from the environment (ECHO2PHENO_*).",
    )
    parser.add_argument("--version", action="version", version=f"Echo2Pheno {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[argparse.Namespace], int], says: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=says, description=says)
        command.set_defaults(run=run)
        return command

    serve = add("serve", _serve, "run the service")
    serve.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on, 0 picks one (default: 8000)")

    add("worker", _worker, "run analyses that services take in; see ECHO2PHENO_QUEUE")

    analyze = add("analyze", _analyze, "analyse one file without a service; prints JSON")
    analyze.add_argument("file", type=Path, metavar="FILE", help="a DICOM file")
    analyze.add_argument("--body-mass-g", type=_body_mass, help="body mass of the mouse in grams")
    analyze.add_argument(
        "--profile",
        choices=("robust", "published"),
        default="robust",
        help="rules of measurement (default: robust); published needs --body-mass-g",
    )
    analyze.set_defaults(needs_mass=True)
    analyze.add_argument("--out", type=Path, help="folder for figures and tables")

    study = add("study", _study, "analyse a folder of recordings; run again, it goes on")
    study.add_argument("folder", type=Path, metavar="FOLDER", help="recordings, in any folders")
    study.add_argument(
        "--server", metavar="URL", help="address of a service (default: this machine's cores)"
    )
    study.add_argument("--key-file", type=Path, metavar="FILE", help="file with the service's key")
    study.add_argument(
        "--sheet",
        type=Path,
        metavar="CSV",
        help="sample sheet: file_name,body_mass_g,mouse_id,sex,group",
    )
    study.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of results (default: FOLDER-results)"
    )
    study.add_argument("--name", help="name of the study (default: that of the folder)")
    study.add_argument(
        "--body-mass-g", type=_body_mass, help="body mass in grams where the sheet has none"
    )
    study.add_argument("--profile", choices=("robust", "published"), default="robust")
    study.add_argument(
        "--no-figures", dest="figures", action="store_false", help="leave out those of recordings"
    )
    study.add_argument(
        "--uploads",
        type=int,
        choices=range(1, 17),
        default=4,
        metavar="N",
        help="files that are sent at once (default: 4)",
    )

    demo = add("demo", _demo, "simulate a recording and send it through a service")
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder (default: demo)")

    keys = add("keys", _keys, "add, renew, list or remove the keys that callers need")
    acts = keys.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="keys")
    named = {
        name: acts.add_parser(name, help=says, description=says)
        for name, says in (
            ("add", "make a key and show it, once"),
            ("renew", "give a key another secret; its analyses stay its own"),
            ("remove", "remove a key; nobody inherits its analyses"),
        )
    }
    for command in named.values():
        command.add_argument("name", metavar="NAME", help="whose key it is")
    named["add"].add_argument(
        "--role",
        choices=ROLES,
        default=ROLES[0],
        help="analyse: its own analyses (default); read-all: reads everybody's, changes none; "
        "admin: everything",
    )
    acts.add_parser("list", help="list names, roles, dates and ids", description="list the keys")

    add("check", _check, "load the networks, check their sha256 and a known answer")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        The status to exit with; argparse itself exits with 2 on a usage error.
    """
    parser = _parser()
    parsed = parser.parse_args(arguments)
    needs_mass = "needs_mass" in parsed and parsed.profile == "published"
    if needs_mass and parsed.body_mass_g is None:
        parser.error("the profile published needs --body-mass-g: its quality windows depend on it")
    try:
        run: Callable[[argparse.Namespace], int] = parsed.run
        return run(parsed)
    except ValidationError as error:
        for wrong in error.errors():
            name = "_".join(str(part) for part in wrong["loc"]).upper()
            print(f"ECHO2PHENO_{name}: {wrong['msg']}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # also while a command still imports what it needs
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
