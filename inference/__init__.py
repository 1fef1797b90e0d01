"""Everything that uses a model: loading, generation, chat."""
