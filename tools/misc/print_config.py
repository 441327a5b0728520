"""Prints a config as it is after its bases and the options of the command line."""
import argparse

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors


def main() -> None:
    """Prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_options(parser)
    with one_line_errors():
        print(load_config(parser, parser.parse_args()).pretty_text)


if __name__ == '__main__':
    main()
