"""List and watch, as reflectors use them."""
