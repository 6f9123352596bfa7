"""The agents of EMNAS (2021) by name: as they were, and with their defects mended.

`docs/original_agents.md` sets both forms side by side.
"""
