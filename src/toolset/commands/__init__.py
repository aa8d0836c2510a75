"""The subcommands, one module each, with their argument parser and printers."""
