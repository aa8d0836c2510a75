module probes

go 1.26
