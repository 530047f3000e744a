"""``efface push``: a run onto the Hugging Face Hub."""

import json
import sys
from typing import Annotated

import typer

from efface import hub
from efface.cli.lines import err, visible
from efface.cli.options import AsJson, RunFolder
from efface.export.place import check_run


def push(  # noqa: PLR0913 (one parameter an option)
    run: RunFolder,
    repo: Annotated[str, typer.Option(help="owner/name on the Hub")],
    send: Annotated[bool, typer.Option("--send", help="send it; without, only what would be sent is said")] = False,
    public: Annotated[bool, typer.Option("--public", help="make a repository that all can see")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="send it into a repository that has files efface did not put there, too")
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="send record.json too; it names folders as they were given")
    ] = False,
    page: Annotated[
        bool,
        typer.Option(
            "--page",
            help="send report.html too; it shows pictures of held-out images, and names folders as they were given",
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Sends model and card of a run to the Hugging Face Hub; without --send, says what it would send."""
    check_run(run)
    hub.check_repo(repo)

    from efface.export.hub import plan_upload
    from efface.export.hub import send as send_to_hub

    upload = plan_upload(run, repo, private=not public, overwrite=overwrite, record=record, page=page)
    address = send_to_hub(upload) if send else None
    if as_json:
        plan = {"repo": repo, "private": upload.private, "sent": send, "commit": address, "files": upload.sizes}
        sys.stdout.write(json.dumps(plan, indent=1, ensure_ascii=False) + "\n")
        return 0
    for name, size in upload.sizes.items():
        err.print(f"{size:>12,} bytes  {visible(name)}", soft_wrap=True, highlight=False, markup=False)
    if address is None:
        err.print(f"nothing was sent: add --send to send this to {repo}", soft_wrap=True, highlight=False, markup=False)
    else:
        sys.stdout.write(f"{address}\n")
    return 0
