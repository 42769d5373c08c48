"""Run folders that somebody has written into."""

import json


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


HOSTILE = '"><script>document.title = "taken"</script><img src="https://example.org/x.png">'


def hostile(folder):
    def change(content):
        content["config"]["preset"] = HOSTILE
        content["config"]["env"]["id"] = HOSTILE
        content["init"] = HOSTILE

    rewrite(folder.path / "config.json", change)
    rewrite(folder.evaluation, lambda result: result.update(note=HOSTILE, preset=HOSTILE))
