"""Every configuration of an Ethos-U that Vela allows, by name: 11 accelerators, 166 in all.

A long name has three parts: ``ethos-u55-128/Ethos_U55_High_End_Embedded/Shared_Sram`` is an
accelerator, a system configuration (clock and memories around it) and a memory mode (what lies in
which memory). Both are sections of the vela.ini that comes with ethos-u-vela 5.2. The first part
alone stands for the usual configuration of that accelerator.

The rule is that of Vela's own command line: activations must lie in memory that can be written.
The compiler itself accepts what breaks it, and answers with cycles of a chip that cannot be.
"""

from __future__ import annotations

from dataclasses import dataclass

from emnas_gym.errors import UnknownName
from hardware.errors import CompilerError


@dataclass(frozen=True)
class NpuConfig:
    """One configuration of an NPU and of the memories around it.

    Attributes:
        architecture: Family, as the compiler calls it.
        macs: Multiply-accumulates a cycle and core.
        cores: Number of cores.
        system_config: Section of Vela's configuration file: clock, memories, their latencies.
        memory_mode: Section of Vela's configuration file: what lies in which memory.
    """

    architecture: str
    macs: int
    cores: int
    system_config: str
    memory_mode: str = "Shared_Sram"


U55 = "Ethos_U55_High_End_Embedded"
U65 = "Ethos_U65_High_End"
U85 = "Ethos_U85_SYS_DRAM_Mid"
CONFIGS = {
    **{f"ethos-u55-{n}": NpuConfig("EthosU55", n, 1, U55) for n in (32, 64, 128, 256)},
    "ethos-u65-256": NpuConfig("EthosU65", 256, 1, U65),
    "ethos-u65-512": NpuConfig("EthosU65", 256, 2, U65),
    **{f"ethos-u85-{n}": NpuConfig("EthosU85", n, 1, U85) for n in (128, 256, 512, 1024, 2048)},
}

FLASH, DRAM = "OffChipFlash", "Dram"
SYSTEMS = {  # family -> system configuration -> the memory beside the SRAM
    "EthosU55": {"Ethos_U55_Deep_Embedded": FLASH, U55: FLASH},
    "EthosU65": {
        "Ethos_U65_Embedded": FLASH,
        "Ethos_U65_Mid_End": DRAM,
        U65: DRAM,
        "Ethos_U65_Client_Server": DRAM,
    },
    "EthosU85": {
        "Ethos_U85_SYS_Flash_Low": FLASH,
        "Ethos_U85_SYS_Flash_High": FLASH,
        "Ethos_U85_SYS_DRAM_Low": DRAM,
        U85: DRAM,
        "Ethos_U85_SYS_DRAM_High": DRAM,
    },
}
MODES = {  # memory mode -> whether activations lie beside the SRAM
    "Sram_Only": False,
    "Shared_Sram": False,
    "Dedicated_Sram": True,
    "Dedicated_Sram_256KB": True,
    "Dedicated_Sram_384KB": True,
    "Dedicated_Sram_512KB": True,
}


def npu_config(name: str) -> NpuConfig:
    """A configuration by its long name, or the usual one of an accelerator.

    Args:
        name: ``"ethos-u55-128"``, or accelerator/system configuration/memory mode.

    Raises:
        UnknownName: If a part of the name is none; the message has the nearest ones.
        CompilerError: If the parts do not go together.
    """
    accelerator, *rest = name.split("/") if isinstance(name, str) else [name]
    if accelerator not in CONFIGS:
        raise UnknownName("accelerator", accelerator, CONFIGS)
    usual = CONFIGS[accelerator]
    if not rest:
        return usual
    if len(rest) != 2:
        raise CompilerError(
            f"{name!r} has {len(rest) + 1} parts; a configuration is one accelerator, or three "
            f"parts such as {long_name(accelerator, usual)!r}"
        )
    system, mode = rest
    problem = illegal(usual.architecture, system, mode)
    if problem:
        raise CompilerError(f"{name!r} is not allowed: {problem}")
    return NpuConfig(usual.architecture, usual.macs, usual.cores, system, mode)


def illegal(architecture: str, system: str, mode: str) -> str:
    """Why a family cannot have a system configuration and memory mode; empty if it can.

    Raises:
        UnknownName: If there is no such system configuration or memory mode.
    """
    known = {s: family for family, systems in SYSTEMS.items() for s in systems}
    if system not in known:
        raise UnknownName("system configuration", system, known)
    if mode not in MODES:
        raise UnknownName("memory mode", mode, MODES)
    if known[system] != architecture:
        choice = ", ".join(SYSTEMS[architecture])
        return f"{system} is of another family; {architecture} has {choice}"
    if MODES[mode] and SYSTEMS[architecture][system] == FLASH:
        writable = " or ".join(m for m, beside in MODES.items() if not beside)
        return (
            f"{mode} puts activations beside the SRAM, where {system} has flash, which cannot "
            f"be written; choose {writable}"
        )
    return ""


def long_name(accelerator: str, config: NpuConfig) -> str:
    """The name in three parts."""
    return f"{accelerator}/{config.system_config}/{config.memory_mode}"


def npu_configs() -> dict[str, NpuConfig]:
    """All legal configurations by long name, by accelerator, system and mode in this order."""
    return {
        f"{accelerator}/{system}/{mode}": NpuConfig(
            usual.architecture, usual.macs, usual.cores, system, mode
        )
        for accelerator, usual in CONFIGS.items()
        for system in SYSTEMS[usual.architecture]
        for mode in MODES
        if not illegal(usual.architecture, system, mode)
    }


def npu_table() -> list[dict[str, str | int | bool]]:
    """Rows for people: one a legal configuration, with the short name where it is the usual one."""
    usual = {long_name(name, config): name for name, config in CONFIGS.items()}
    return [
        {
            "name": name,
            "short": usual.get(name, ""),
            "macs_per_cycle": config.macs * config.cores,
            "system_config": config.system_config,
            "memory_mode": config.memory_mode,
            "beside_sram": SYSTEMS[config.architecture][config.system_config],
            "activations_beside_sram": MODES[config.memory_mode],
        }
        for name, config in npu_configs().items()
    ]
