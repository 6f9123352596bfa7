"""The natively batched environment as Stable-Baselines3's `VecEnv`.

PPO and MaskablePPO train on it directly. Masks go over as one array. Infos have something to say
where an episode has ended, and make it when somebody asks.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Sequence, ValuesView
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from emnas_gym.errors import EmNASError, UnknownName
from emnas_gym.vector_env import EmNASVectorEnv

Info = dict[str, Any]


class SB3VecEnv(VecEnv):
    """An `EmNASVectorEnv` in the form that Stable-Baselines3 trains on.

    Args:
        envs: Environments that start the next episode in the step that ends one.

    Raises:
        EmNASError: If they start it at another time.
    """

    def __init__(self, envs: EmNASVectorEnv) -> None:
        if envs.autoreset_mode != AutoresetMode.SAME_STEP:
            raise EmNASError("SB3VecEnv needs environments made with autoreset_mode='same_step'")
        self.envs = envs
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        self._actions: NDArray[Any] | None = None

    def reset(self) -> Any:  # noqa: ANN401
        """Starts an episode in every environment; seeds are those of `seed`."""
        seeds = self._seeds if any(seed is not None for seed in self._seeds) else None
        observation, infos = self.envs.reset(seed=seeds)
        self.reset_infos = [{"action_mask": mask} for mask in infos["action_mask"]]
        self._reset_seeds()
        return observation

    def step_async(self, actions: NDArray[Any]) -> None:
        """Notes the actions of the next step."""
        self._actions = actions

    def step_wait(self) -> Any:  # noqa: ANN401
        """Takes the step: observations, rewards, flags of ended episodes, infos."""
        assert self._actions is not None
        observation, rewards, terminated, truncated, vector = self.envs.step(self._actions)
        dones = terminated | truncated
        infos: list[Info] = [{} for _ in range(self.num_envs)]
        if dones.any():
            for i in np.flatnonzero(dones).tolist():
                last = vector["final_obs"][i]
                cut_off = bool(truncated[i] and not terminated[i])
                infos[i] = FinalInfo(vector["final_info"], i, last, cut_off)
        return observation, rewards.astype(np.float32), dones, infos

    def action_masks(self) -> NDArray[np.bool_]:
        """Legal actions, (N, K + 1)."""
        return self.envs.action_masks().view(np.bool_)

    def close(self) -> None:
        """Closes the environments."""
        self.envs.close()

    def render(self, mode: str | None = None) -> Any:  # noqa: ANN401
        """Frames of the environments, in the mode that they were made with."""
        return self.envs.render()

    def get_images(self) -> Sequence[Any]:
        """Frames of the environments, where they are made of pixels."""
        frames = self.envs.render() if self.render_mode == "rgb_array" else None
        return frames or [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute, the same for every environment; of ``action_masks`` the method itself.

        Raises:
            AttributeError: If there is none.
        """
        value = getattr(self.envs, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:  # noqa: ANN401
        """Refuses: environments that share their arrays cannot differ."""
        raise EmNASError(f"{attr_name!r}: give it to EmNASVectorEnv; its environments are alike")

    def env_method(
        self,
        method_name: str,
        *method_args: Any,  # noqa: ANN401
        indices: VecEnvIndices = None,
        **method_kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Masks of the environments, the one method that single environments are asked for.

        Args:
            method_name: ``action_masks``.
            method_args: None.
            indices: Which environments; all if None.
            method_kwargs: None.

        Returns:
            One array, (N, K + 1).

        Raises:
            UnknownName: If it is another method.
        """
        if method_name != "action_masks":
            raise UnknownName("method of environments", method_name, ["action_masks"])
        masks = self.action_masks()
        return masks if indices is None else masks[list(self._get_indices(indices))]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """No environment is wrapped."""
        return [False for _ in self._get_indices(indices)]


class FinalInfo(dict[str, Any]):
    """What one environment told at the end of its episode, taken out of all when it is asked for.

    ``terminal_observation`` and ``TimeLimit.truncated`` are there from the start.

    Args:
        vector: Infos of all environments in Gymnasium's vector form.
        i: Index of the environment.
        last: What was observed last.
        cut_off: Whether the episode was truncated.
    """

    def __init__(self, vector: Info, i: int, last: Any, cut_off: bool) -> None:  # noqa: ANN401
        super().__init__({"terminal_observation": last, "TimeLimit.truncated": cut_off})
        self._rest: tuple[Info, int] | None = (vector, i)

    def _filled(self) -> FinalInfo:
        if self._rest is not None:
            (vector, i), self._rest = self._rest, None
            for key, value in _row(vector, i).items():
                self.setdefault(key, value)
        return self

    def __missing__(self, key: str) -> Any:  # noqa: ANN401
        """A value that was not taken out yet."""
        if self._rest is None:
            raise KeyError(key)
        return self._filled()[key]

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401
        """A value, or the default; looks only where there may be one."""
        if self._rest is not None and key in self._rest[0]:
            self._filled()
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        """Whether there is a value."""
        return dict.__contains__(self._filled(), key)

    def __iter__(self) -> Iterator[str]:
        """All keys."""
        return dict.__iter__(self._filled())

    def __len__(self) -> int:
        """Number of keys."""
        return dict.__len__(self._filled())

    def __eq__(self, other: object) -> bool:
        """Equal to a dictionary of the same keys and values."""
        return dict.__eq__(self._filled(), other)

    __hash__ = None

    def __repr__(self) -> str:
        """All keys and values."""
        return dict.__repr__(self._filled())

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        """All keys."""
        return dict.keys(self._filled())

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """All values."""
        return dict.values(self._filled())

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """All keys and values."""
        return dict.items(self._filled())

    def copy(self) -> Info:
        """A plain dictionary of all."""
        return dict(self.items())


def _row(vector: Info, i: int) -> Info:
    """What one environment knows, from infos in vector form."""
    row: Info = {}
    for key, value in vector.items():
        have = vector.get(f"_{key}")
        if have is not None and have[i]:
            row[key] = _row(value, i) if isinstance(value, dict) else _plain(value[i])
    return row


def _plain(value: Any) -> Any:  # noqa: ANN401
    return value.item() if isinstance(value, np.generic) else value
