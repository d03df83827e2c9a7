"""``portable-nn doctor``: what this machine gives a training, and what to do about it.

Each topic is a function of what it is given, so that a made-up machine can be looked at too;
``_here.py`` is what asks the real one.
"""
