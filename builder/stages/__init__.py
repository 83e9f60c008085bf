"""Small named steps that do what maintainer scripts would have done, each a function over the tree.

| stage | does |
|---|---|
| scripts | finds somebody who answers for every maintainer script |
| accounts | users, groups, owners of paths |
| defaults | files that scripts write or copy |
| alternatives | `iptables` → `iptables-nft` and their kind |
| capabilities | file capabilities |
| cabundle | the trusted authorities |
| modules | what modprobe looks up |
| extrafiles | the recipe's own files |
| dpkgdb | dpkg's database |
| bytecode | Python without sources |
| berth | our own programs, what the release is, baked images |
| busybox | a link for every applet that nothing else provides |
| copyrights | each copyright text once |
| ldcache | the dynamic linker's cache |
| layout | factory copies of /etc and /var, mount points |
"""

from builder.stages.context import ScriptAnswer, StageContext, StageReport, StageResult
from builder.stages.run import run_stages

__all__ = ["ScriptAnswer", "StageContext", "StageReport", "StageResult", "run_stages"]
