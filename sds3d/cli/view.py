"""view."""

from __future__ import annotations

from pathlib import Path

import typer

from sds3d.cli.app import app, guarded


@app.command(epilog="sds3d view outputs/a-red-chair-1a2b3c4d")
@guarded
def view(
    path: Path = typer.Argument(..., help="A run's folder.", metavar="RUN"),
    port: int = typer.Option(0, "--port", min=0, max=65535, help="0 takes a free one."),
    browser: bool = typer.Option(True, "--browser/--no-browser", help="Open it in the web browser."),
) -> None:
    """Turn a run's mesh and splats around in the browser, on this machine only; Ctrl-C ends it."""
    from sds3d.view.server import ViewServer
    from sds3d.view.site import site

    server = ViewServer(site(path), port)
    typer.echo(f"{server.address}  (Ctrl-C ends it)")
    if browser:
        import webbrowser

        webbrowser.open(server.address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        typer.echo("")
    finally:
        server.server_close()
