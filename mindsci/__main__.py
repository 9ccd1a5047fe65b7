"""`python -m mindsci`: the command line, also under torchrun."""

from mindsci.cli import main

if __name__ == "__main__":
    main()
