"""Hostile input: whatever bytes come, only our own errors come out, soon, and in bounded memory.

``targets`` says what is fed with what, ``mutations`` makes inputs, ``guard`` watches files and
sockets, ``worker`` runs inputs in a process of its own (native code may crash), ``run`` starts it.
"""
