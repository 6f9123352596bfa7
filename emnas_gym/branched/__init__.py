"""Search spaces of networks with branches: cells, pairs of cells, blocks and stages, as data."""

from emnas_gym.branched.cell_space import CellSpace as CellSpace
