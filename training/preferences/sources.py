from training.preferences.old import pin, read_source  # noqa
