"""`python -m cnnbo` is the `cnnbo` command."""

from cnnbo.cli.app import main

if __name__ == "__main__":
    main()
