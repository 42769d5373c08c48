"""Links of the pages that lead to files which the site does not have.

On a code host they open a file or a folder of the repository. On the site a module leads to where
the reference describes it; of all others, and of modules not described, the text stays. Links to
what is nowhere are left as they are, for mkdocs to refuse.
"""

import re
from pathlib import Path, PurePosixPath

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#:]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown, *, page, config, **_):
    """Called by mkdocs with the text of each page; returns the text to take."""
    docs = Path(config.docs_dir).resolve()
    root = Path(config.config_file_path).parent.resolve()
    folder = (docs / page.file.src_uri).parent

    def on_site(link):
        path = (folder / link[2]).resolve()
        of_site = path.is_relative_to(docs) and not path.is_dir()
        if of_site or not path.exists() or not path.is_relative_to(root):
            return link[0]
        module = PurePosixPath(path.relative_to(root)).with_suffix("")
        if path.suffix == ".py" or (path / "__init__.py").exists():
            name = ".".join(module.parts).removesuffix(".__init__")
            # Of mkdocs-autorefs, which knows what the reference has only when all pages are read.
            return f'<autoref identifier="{name}" optional>{link[1]}</autoref>'
        return link[1]

    return LINK.sub(on_site, markdown)
