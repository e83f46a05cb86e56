"""A job by yapapi: SOVR_TEST_JOB says what to do, standard output what came of each task, in a line of JSON.

The runtime is whatever the job says, which a payload of one's own allows: yapapi's helpers know virtual machines only.
"""

import asyncio
import hashlib
import json
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from yapapi import Golem, Task
from yapapi.log import enable_default_logger
from yapapi.payload import Payload
from yapapi.props import inf
from yapapi.props.base import constraint, prop
from yapapi.storage import gftp

TIMEOUT = timedelta(minutes=10)
JOB = json.loads(os.environ["SOVR_TEST_JOB"])


@dataclass
class Package(Payload):
    runtime: str = constraint(inf.INF_RUNTIME_NAME)
    task_package: str = prop("golem.srv.comp.task_package")


async def work(context, tasks):
    async for task in tasks:
        fetched = Path(JOB["output"]) / str(task.data)
        script = context.new_script(timeout=TIMEOUT)
        script.upload_file(JOB["input"], JOB["send_to"])
        ran = script.run(JOB["program"], *JOB["arguments"])
        script.download_file(JOB["fetch_from"], str(fetched))
        yield script
        result = {"task": task.data, "stdout": (await ran).stdout or "", "fetched": str(fetched)}
        task.accept_result(result=result)


async def main():
    if JOB["talks"]:
        enable_default_logger()
    content = Path(JOB["package"]).read_bytes()
    async with gftp.provider() as storage:
        url = (await storage.upload_file(JOB["package"])).download_url
        package = f"hash:sha3:{hashlib.sha3_224(content).hexdigest()}:{url}"
        payload = Package(runtime=JOB["runtime"], task_package=package)
        async with Golem(budget=100, subnet_tag=JOB["subnet"]) as golem:
            tasks = [Task(data=number) for number in range(JOB["tasks"])]
            done = golem.execute_tasks(work, tasks, payload, max_workers=1, timeout=TIMEOUT)
            async for task in done:
                print(json.dumps(task.result), flush=True)


asyncio.run(main())
