"""``python -m glip_pl`` is ``glip``."""

from glip_pl.cli import main

if __name__ == "__main__":
    main()
