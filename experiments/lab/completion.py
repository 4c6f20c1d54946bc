"""Shell completion of `python -m experiments`, or of `jaxopt-course` where that is the command.

    source <(python -m experiments completion bash)      # or zsh; put it into ~/.bashrc or ~/.zshrc
    source <(jaxopt-course completion bash)

The shell asks for the words that can come next each time, so that new experiments are known at
once. Names, presets and fields are read from the files: no experiment is imported.
"""

from collections.abc import Sequence

from . import commands, registry

SHELLS = ("bash", "zsh")
_MODULE = """\
_experiments() {
  COMPREPLY=()
  [[ ${COMP_WORDS[1]} == -m && ${COMP_WORDS[2]} == PACKAGE && COMP_CWORD -ge 3 ]] || return
  local IFS=$'\\n'
  COMPREPLY=($("${COMP_WORDS[0]}" -m PACKAGE completion words \\
    "${COMP_WORDS[@]:3:COMP_CWORD-2}" 2>/dev/null))
}
complete -o default -F _experiments python python3
"""
_COMMAND = """\
_experiments() {
  local IFS=$'\\n'
  COMPREPLY=($("${COMP_WORDS[0]}" completion words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _experiments COMMAND
"""
_ZSH = "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"


def script(shell: str, package: str = registry.PACKAGE) -> str:
    """Return what the shell must read to complete the commands of a package of experiments.

    Raises:
        UnknownNameError: If the shell is none of `SHELLS`.
    """
    if shell not in SHELLS:
        raise registry.UnknownNameError("shell", shell, SHELLS)
    command = registry.command(package)
    of_module = command.endswith(f" -m {package}")
    text = (
        _MODULE.replace("PACKAGE", package) if of_module else _COMMAND.replace("COMMAND", command)
    )
    return _ZSH + text if shell == "zsh" else text


def words(typed: Sequence[str], package: str = registry.PACKAGE) -> list[str]:
    """Return the words that can stand in the place of the last one.

    Args:
        typed: Words after the command, the last one unfinished and perhaps empty.
        package: Package whose modules are the experiments.

    Example:
        >>> words(["run", "descent"])
        ['descent_lemma']
    """
    *before, last = typed or [""]
    return [word for word in _candidates(before, last, package) if word.startswith(last)]


def _candidates(before: list[str], last: str, package: str) -> list[str]:
    """Return everything that can follow the words before."""
    if not before:
        return list(commands.NAMES)
    command, *rest = before
    if command == "completion":
        return [] if rest else list(SHELLS)
    known = registry.experiments(package)
    named = [known[word] for word in (known if "all" in rest else rest) if word in known]
    if rest and rest[-1] == "--preset":
        return list(dict.fromkeys(preset for experiment in named for preset in experiment.sizes))
    if rest and rest[-1] == "--out":
        return []
    if last.startswith("-"):
        fields = dict.fromkeys(field for experiment in named for field in experiment.fields)
        more = ["--" + field.replace("_", "-") for field in fields] if command == "run" else []
        return [*commands.options(command), *more]
    if command in ("run", "show") and not any(word.startswith("-") for word in rest):
        return [*(name for name in known if name not in rest), "all"]
    return []
