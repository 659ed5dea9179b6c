"""`python -m asteros`."""

import sys

from asteros.cli import main

sys.exit(main())
