"""Many short runs on tables that are known whole: how far each agent is at given evaluations."""
