"""The one table of providers: names, protocols, addresses, and which model name means which."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

Dialect = Literal["anthropic", "openai", "responses", "scripted"]


@dataclass(frozen=True, slots=True)
class Preset:
    """What is known of one provider. An empty ``base_url`` must come from the caller.

    ``responses`` means OpenAI's Responses at the preset's own address, and at any where it
    has none of its own; at another address it means Chat Completions, which all gateways speak."""

    name: str
    dialect: Dialect = "openai"
    base_url: str = ""
    aliases: tuple[str, ...] = ()
    models: tuple[str, ...] = ()  # patterns of model names that mean it when no provider is named
    needs_key: bool = True
    # Differences between servers of the OpenAI dialect:
    max_tokens_name: str = "max_tokens"
    usage_option: bool = True  # takes stream_options.include_usage
    takes_reasoning_back: bool = False

    def names(self) -> tuple[str, ...]:
        """Its own name and its aliases."""
        return (self.name, *self.aliases)


PRESETS = (
    Preset("scripted", "scripted", models=("echo", "demo", "flood:*", "script:*"), needs_key=False),
    Preset("anthropic", "anthropic", "https://api.anthropic.com", models=("claude*",)),
    Preset("custom_claude", "anthropic", needs_key=False),
    Preset(
        "openai",
        "responses",
        "https://api.openai.com/v1",
        models=("gpt*", "o1*", "o3*"),
        max_tokens_name="max_completion_tokens",  # its reasoning models refuse the old name
    ),
    Preset("openai_responses", "responses", needs_key=False),
    Preset("deepseek", base_url="https://api.deepseek.com", models=("deepseek*",), takes_reasoning_back=True),
    Preset("groq", base_url="https://api.groq.com/openai/v1"),
    Preset("ollama", base_url="http://localhost:11434/v1", models=("llama*", "mistral*"), needs_key=False),
    Preset("openrouter", base_url="https://openrouter.ai/api/v1"),
    Preset("mistral", base_url="https://api.mistral.ai/v1", usage_option=False),
    Preset(
        "moonshot",
        base_url="https://api.moonshot.cn/v1",
        aliases=("kimi",),
        models=("kimi*", "moonshot*"),
        takes_reasoning_back=True,
    ),
    Preset("glm", base_url="https://open.bigmodel.cn/api/paas/v4", aliases=("zhipu", "bigmodel"), models=("glm*",)),
    Preset("doubao", base_url="https://ark.cn-beijing.volces.com/api/v3", aliases=("bytedance",)),
    Preset(
        "gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        aliases=("google",),
        models=("gemini*",),
    ),
    Preset("openai_compatible", aliases=("custom",), needs_key=False),
    Preset("gateway", needs_key=False),
)


@dataclass(frozen=True, slots=True)
class Table:
    """Looks presets up by name or by model."""

    by_name: dict[str, Preset] = field(default_factory=lambda: {name: p for p in PRESETS for name in p.names()})

    def named(self, name: str) -> Preset | None:
        """The preset of a provider's name or alias; case does not matter."""
        return self.by_name.get(name.lower())

    def of_model(self, model: str) -> Preset | None:
        """The provider a bare model name stands for."""
        lowered = model.lower()
        return next((p for p in PRESETS if any(fnmatchcase(lowered, pattern) for pattern in p.models)), None)


TABLE = Table()
