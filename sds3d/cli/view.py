"""view."""

from __future__ import annotations

from pathlib import Path

import typer

from sds3d.cli.app import app, guarded


@app.command(epilog="sds3d view outputs/a-red-chair-1a2b3c4d\n\nsds3d view scan.ply --up z")
@guarded
def view(
    path: Path = typer.Argument(
        ..., help="A run's folder, or a file: glb gltf obj ply stl spz splat.", metavar="RUN|ASSET"
    ),
    up: str | None = typer.Option(None, "--up", help="The file's axis that is upwards, such as z or -y."),
    front: str | None = typer.Option(None, "--front", help="The file's axis that the front looks along."),
    port: int = typer.Option(0, "--port", min=0, max=65535, help="0 takes a free one."),
    browser: bool = typer.Option(True, "--browser/--no-browser", help="Open it in the web browser."),
) -> None:
    """Turn a mesh and splats around in the browser: a run's or a file's, on this machine only; Ctrl-C ends it."""
    from sds3d.view.server import ViewServer
    from sds3d.view.site import site

    server = ViewServer(site(path.expanduser(), up, front), port)
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
