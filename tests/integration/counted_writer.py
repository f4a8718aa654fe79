"""Runs `inspect-af` in this process and writes one line per reply of the simulated writer: which call it "
"answers."""

import hashlib
import os
import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.faulty_writers import FaultyWriterAPI

import inspect_af.providers.simulated as provider

generate = FaultyWriterAPI.generate


async def counted(self, input, tools, tool_choice, config):
    output = await generate(self, input, tools, tool_choice, config)
    said = "\0".join(f"{message.role}\0{message.text}" for message in input)
    call = hashlib.sha256(f"{config.seed}\0{said}".encode()).hexdigest()[:16]
    with Path(os.environ["COUNT_CALLS"]).open("a") as file:
        file.write(f"{call}\n")
    return output


FaultyWriterAPI.generate = counted  # type: ignore[method-assign]
provider.SimulatedWriterAPI = FaultyWriterAPI  # type: ignore[misc]

if __name__ == "__main__":
    script = Path(sys.executable).parent / "inspect-af"
    sys.argv[0] = str(script)
    runpy.run_path(str(script), run_name="__main__")
