"""Synthetic document fine-tuning: documents, filters, corpora, training, adapters, and what was learnt.

`documents` is what tasks and readers of corpora need; `generate`, `filters` and `corpus` make corpora;
`train` makes adapters of them; `check` measures what those learnt.
"""
