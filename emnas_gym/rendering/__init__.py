"""A network while it grows: as text, as pixels, or in a window."""

from emnas_gym.rendering.picture import render_rgb
from emnas_gym.rendering.scene import Scene, make_scene
from emnas_gym.rendering.text import render_ansi
from emnas_gym.rendering.window import HumanView

__all__ = ["HumanView", "Scene", "make_scene", "render_ansi", "render_rgb"]
