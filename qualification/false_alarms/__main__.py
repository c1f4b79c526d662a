"""`python -m qualification.false_alarms [--cases N] [--elements N] [--kernel NAME] [--jobs N]`"""

import sys

from qualification.false_alarms.run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
