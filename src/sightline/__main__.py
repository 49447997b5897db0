"""`python -m sightline`."""

from sightline.serve.cli import main

if __name__ == "__main__":
    main()
