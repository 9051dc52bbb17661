"""`sharder doctor`: whether runs can be had here, and if not, what is wrong and how to mend it.

`here` looks at this machine, `stage` at the object store and what lies on it, `broker` at Redis and who is
there, `spec` at the sources and destinations of a spec. Every check is a finding; none of them raises.
"""

from sharder.doctor.examine import examine, exit_code, shown
from sharder.doctor.finding import Finding

__all__ = ["Finding", "examine", "exit_code", "shown"]
