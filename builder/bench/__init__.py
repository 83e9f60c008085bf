"""`make bench`: sizes, build times, boots and memory of the shipped recipes, with what they were measured on.

| file | idea |
|---|---|
| goals | what is to be reached |
| host | what the figures were measured on |
| sizes | bytes, by part and by package |
| measured | one command's time, processor time and memory |
| builds | with nothing cached, with packages cached, after a change, and with nothing changed |
| guest | one guest, watched: floor boot and whole boot |
| boots | boots beside a floor boot; memory at rest; power-off |
| least | the smallest memory that reaches the container |
| report | the tables |
"""
