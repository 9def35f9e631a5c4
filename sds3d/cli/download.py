"""download."""

from __future__ import annotations

import typer

from sds3d.cli.app import STOPPED, app, guarded
from sds3d.cli.console import aside
from sds3d.cli.options import OFFLINE, go_offline


@app.command(
    epilog="sds3d download sd15 --variant fp16\n\nsds3d download stabilityai/stable-diffusion-xl-base-1.0\n\n"
    "sds3d download https://huggingface.co/OWNER/NAME/blob/main/FILE.safetensors"
)
@guarded
def download(
    model: str = typer.Argument(..., help="A name from [bold]list priors[/bold], owner/name, or its page's address."),
    variant: str | None = typer.Option(None, "--variant", help="fp16 is half the size; parts without it come in full."),
    offline: bool = OFFLINE,
) -> None:
    """Fetch a prior from the Hugging Face hub, weights as safetensors only; the same command goes on after a stop.

    HF_HOME says where to, HF_ENDPOINT from which hub; for gated models run hf auth login first.
    """
    go_offline(offline)
    from sds3d.priors import PRIORS, fetch_named

    source = PRIORS.get(model)
    if source is not None and source.folder is not None:
        typer.echo(f"{model} comes with sds3d: there is nothing to fetch")
        return
    try:
        typer.echo(fetch_named(model, variant, lambda line: typer.echo(line, err=True)))
    except KeyboardInterrupt:
        aside(f"stopped: finished files are kept; go on with: sds3d download {model}")
        raise typer.Exit(STOPPED) from None
