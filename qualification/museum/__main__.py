"""`python -m qualification.museum [NAME ...] [--jobs N] [--state FILE]`"""

import sys

from qualification.museum.run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
