"""A lightweight broker: registers, keeps its session, follows the log, answers clients from its image."""
