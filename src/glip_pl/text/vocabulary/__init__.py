"""The word pieces of `TinyBert`: vocab.txt, one per line; its order is part of every checkpoint."""
