"""On PYTHONPATH, it has every step of a study write a line for each reply of a simulated model."""

import hashlib
import os
import sys
from pathlib import Path

if "COUNT_CALLS" in os.environ and "step" in sys.orig_argv:
    from inspect_af.providers.organism import OrganismAPI
    from inspect_af.providers.simulated import SimulatedJudgeAPI, SimulatedWriterAPI

    def counted(api):
        generate = api.generate

        async def counting(self, input, tools, tool_choice, config):
            output = await generate(self, input, tools, tool_choice, config)
            said = "\0".join(f"{message.role}\0{message.text}" for message in input)
            call = hashlib.sha256(f"{self.model_name}\0{config.seed}\0{said}".encode()).hexdigest()[:16]
            with Path(os.environ["COUNT_CALLS"]).open("a") as file:
                file.write(f"{call}\n")
            return output

        api.generate = counting

    for each in (OrganismAPI, SimulatedJudgeAPI, SimulatedWriterAPI):
        counted(each)
