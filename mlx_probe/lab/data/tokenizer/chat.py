"""Chat templates: how the messages of a conversation become one text."""

from __future__ import annotations

from pathlib import Path

from mlx_probe.core.errors import ConfigError

__all__ = ["CHATML", "read_template"]

# ChatML (OpenAI, 2023): each message between two special tokens, the role on its first line.
CHATML = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}\n"
)


def read_template(choice: str) -> str | None:
    """The Jinja template of a setting.

    Args:
        choice: "chatml", "none", or the path of a file.

    Returns:
        The template; None for "none".

    Raises:
        ConfigError: The file cannot be read, or is no Jinja template.
    """
    if choice == "none":
        return None
    if choice == "chatml":
        return CHATML
    from jinja2 import Environment, TemplateSyntaxError
    from jinja2.ext import loopcontrols

    try:
        template = Path(choice).read_text("utf-8")
        # `generation` blocks are transformers' own: it marks with them what an assistant says.
        plain = template.replace("endgeneration", "endif").replace("generation %}", "if 1 %}")
        Environment(extensions=[loopcontrols]).parse(plain)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"chat_template: cannot read {choice}: {error}",
            "Write chatml, none, or the path of a Jinja file",
        ) from error
    except TemplateSyntaxError as error:
        raise ConfigError(
            f"{choice}: line {error.lineno} is no Jinja: {error.message}", "Correct the template"
        ) from error
    return template
