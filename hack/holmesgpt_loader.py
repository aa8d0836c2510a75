"""Load toolset files with the real HolmesGPT, as its server does, and say what became of them.

Runs with the interpreter that ``hack/consumer`` prints, never with ours. Reads one JSON object a line and answers with
one:

    {"path": FILE, "connect_to": {"host:port": "host:port"}, "elsewhere": "host:port" or null, "env": {NAME: VALUE},
     "calls": [[TOOLSET, TOOL, {PARAMETER: VALUE}], ...], "tokens": true or false}
    {"error": TEXT or null, "toolsets": [...], "calls": [...], "commands": [[WORD, ...], ...], "seconds": NUMBER,
     "tokens": NUMBER}

No name is looked up and nothing is reached but what ``connect_to`` and ``elsewhere`` name: no model, no cluster.
"""

import contextlib
import json
import logging
import os
import sys
import time
import types
from pathlib import Path

import litellm
import urllib3.util.connection
import yaml
from holmes.common.env_vars import DEFAULT_MODEL
from holmes.core.prompt import build_system_prompt
from holmes.core.tools import PrerequisiteCacheMode, ToolInvokeContext, ToolsetTag
from holmes.core.tools_utils.tool_executor import ToolExecutor
from holmes.core.toolset_manager import ToolsetManager
from holmes.plugins.toolsets.http.http_toolset import HttpToolsetConfig
from pydantic import BaseModel

commands = []
routes = {"connect_to": {}, "elsewhere": None}
connect = urllib3.util.connection.create_connection


def watch_commands(event, arguments):
    """Note every attempt to start a program."""
    if event in {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn"}:
        words = arguments[1]
        commands.append([words] if isinstance(words, str) else [str(word) for word in words])
    elif event == "os.system":
        commands.append([str(arguments[0])])


def route(address, *arguments, **options):
    """Connect to what stands for ``address`` here."""
    host, port = address
    target = routes["connect_to"].get(f"{host}:{port}", routes["elsewhere"])
    if target is None:
        raise ConnectionRefusedError(f"nothing stands for {host}:{port}")
    host, _, port = target.rpartition(":")
    return connect((host, int(port)), *arguments, **options)


def load(request):
    """Load one file and make the calls that are asked for."""
    began = time.monotonic()
    commands.clear()
    routes.update(connect_to=request.get("connect_to", {}), elsewhere=request.get("elsewhere"))
    with variables(request.get("env", {})):
        try:
            manager = ToolsetManager(custom_toolsets=[request["path"]])
            toolsets = manager.prepare_toolsets(
                toolset_tag_filter=[ToolsetTag.CORE, ToolsetTag.CLUSTER],
                enable_all_toolsets_possible=False,
                prerequisite_cache=PrerequisiteCacheMode.DISABLED,
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the test has to see it
            return {"error": f"{type(error).__name__}: {error}", "toolsets": [], "calls": [], "commands": commands}
        took = time.monotonic() - began
        blocks = yaml.safe_load(Path(request["path"]).read_text("utf-8")).get("toolsets", {})
        by_name = {toolset.name: toolset for toolset in toolsets}
        calls = [call(by_name, *each) for each in request.get("calls", [])]
    described = [describe(toolset, blocks.get(toolset.name)) for toolset in toolsets]
    size = tokens(toolsets) if request.get("tokens") else 0
    return {
        "error": None,
        "toolsets": described,
        "calls": calls,
        "commands": commands,
        "seconds": took,
        "tokens": size,
    }


def tokens(toolsets):
    """Return how many tokens the toolsets take in each request to the default model: its system prompt and the tools.

    Counted as HolmesGPT does to see what fits into the model's context.
    """
    executor = ToolExecutor(toolsets)
    prompt = build_system_prompt(
        toolsets=executor.toolsets,
        skills=None,
        system_prompt_additions=None,
        cluster_name=None,
        ask_user_enabled=False,
        prompt_component_overrides={},
    )
    messages = [{"role": "system", "content": prompt}]
    return litellm.token_counter(DEFAULT_MODEL, messages=messages, tools=executor.get_all_tools_openai_format())


@contextlib.contextmanager
def variables(wanted):
    """Set environment variables for a while."""
    before = dict(os.environ)
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def describe(toolset, block):
    """Say what became of one toolset."""
    config = toolset.config
    return {
        "name": toolset.name,
        "enabled": toolset.enabled,
        "type": toolset.type.value if toolset.type else None,
        "status": toolset.status.value,
        "error": toolset.error,
        "tools": [tool.name for tool in toolset.tools],
        "commands": [getattr(tool, "command", None) or getattr(tool, "script", None) for tool in toolset.tools],
        "instances": (toolset.meta or {}).get("instances", []),
        "instructions": toolset.llm_instructions or "",
        "config": config.model_dump(mode="json") if isinstance(config, BaseModel) else config,
        "undeclared": undeclared(toolset, (block or {}).get("config") or {}),
    }


def undeclared(toolset, config):
    """Return the keys of a config that HolmesGPT takes without knowing them."""
    if toolset.type is not None and toolset.type.value == "http":
        return unknown(HttpToolsetConfig, config, "")
    classes = list(getattr(toolset, "config_classes", []))
    if not classes:
        return []
    shared = {key: value for key, value in config.items() if key != "instances"}
    entries = [{k: v for k, v in each.items() if k != "name"} for each in config.get("instances", [])]
    return [key for each in [shared, *entries] for key in unknown(classes[0], each, "")]


def unknown(model, value, place):
    """Return what ``model`` does not declare of ``value``, at any depth."""
    found = []
    for key, inner in value.items():
        field = model.model_fields.get(key)
        if field is None:
            found.append(f"{place}{key}")
            continue
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        kind = next((each for each in kinds if isinstance(each, type) and issubclass(each, BaseModel)), None)
        for each in inner if isinstance(inner, list) else [inner]:
            if kind is not None and isinstance(each, dict):
                found += unknown(kind, each, f"{place}{key}.")
    return found


class NoModel:
    """Stands for the language model, whose size some tools ask for."""

    def count_tokens(self, *_, **__):
        """Say that everything is small."""
        return types.SimpleNamespace(total_tokens=1)

    def get_context_window_size(self):
        """Say that there is room."""
        return 100_000

    def get_maximum_output_token(self):
        """Say that there is room."""
        return 10_000


def call(toolsets, name, tool_name, parameters):
    """Call a tool as the model would."""
    tools = toolsets[name].tools if name in toolsets else ()  # one that is not healthy may be absent
    tool = next((tool for tool in tools if tool.name == tool_name), None)
    if tool is None:
        return {"status": "missing", "error": f"{name} has no tool {tool_name}", "data": None}
    context = ToolInvokeContext.model_construct(
        llm=NoModel(), max_token_count=100_000, tool_call_id="1", tool_name=tool_name, user_approved=False
    )
    result = tool.invoke(dict(parameters), context)
    return {"status": result.status.value, "error": result.error, "data": str(result.data)[:2000]}


def main():
    """Answer one line after another until the input ends."""
    logging.disable(logging.CRITICAL)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what HolmesGPT prints must not look like an answer
    urllib3.util.connection.create_connection = route
    sys.addaudithook(watch_commands)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(load(json.loads(line)), default=str), file=answers, flush=True)


if __name__ == "__main__":
    main()
