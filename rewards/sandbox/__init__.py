"""Running Python that a model wrote, where it can do nothing but compute.

A server process shuts itself in and forks a child for each job; the child gives up what is left and runs the code.
Nothing here is imported from outside the standard library: the server runs by `python -S`, without site-packages.
"""
