from importlib.util import find_spec

# torch is no dependency of the service: `make install-train` adds it
collect_ignore = [] if find_spec("torch") else ["test_import_published.py", "test_train.py"]
