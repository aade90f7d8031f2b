"""Strategic grams, the phrases that make a high-level move (HICRA, arXiv 2509.03646, section 3).

`plan.py` measures their variety live; `mine.py` finds them in the correct completions of a run.
"""
