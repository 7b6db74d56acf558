package main

import (
	"context"
	"crypto/fips140"
	"fmt"
	"runtime"

	"github.com/kagimori/kagimori/internal/cli"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:    "version",
		Summary: "Print the version",
		Run: func(_ context.Context, env *cli.Env, _ []string) error {
			module := "off"
			if fips140.Enabled() {
				module = "on, " + fips140.Version()
			}
			_, err := fmt.Fprintf(env.Stdout, "kagimori %s\n%s %s/%s\nFIPS 140-3 module: %s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, module)
			return err
		},
	}
}
