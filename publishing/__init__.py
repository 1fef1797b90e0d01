"""What stands behind upload.py: the checks of a release, the difference to the Hub, the push and its verification."""
