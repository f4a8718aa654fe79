"""A small real transformer with a planted motivation: its texts, training examples, training, and check."""
