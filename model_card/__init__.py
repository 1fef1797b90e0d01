"""A run folder in, the release folder with its Hub page out."""
