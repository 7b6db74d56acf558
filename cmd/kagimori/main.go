// Command kagimori is a key management service that speaks the AWS KMS API.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/kagimori/kagimori/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	status := cli.Main(ctx, program(), cli.System(), os.Args[1:])
	stop()
	os.Exit(status)
}

// program is the tree of commands.
func program() *cli.Command {
	return &cli.Command{
		Name:    "kagimori",
		Summary: "A key management service that speaks the AWS KMS API",
		Commands: []*cli.Command{
			serveCommand(),
			rootCommand(),
			backupCommand(),
			restoreCommand(),
			auditCommand(),
			explainCommand(),
			usageCommand(),
			policyCommand(),
			byokCommand(),
			complianceCommand(),
			alarmsCommand(),
			versionCommand(),
		},
	}
}

// version is the version of the module this was built from, or the revision.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
