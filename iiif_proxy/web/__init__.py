"""An answer leaves."""
