// Command modzip writes a module as a proxy serves it: modzip DIR MODULE VERSION PROXY.
//
// PROXY becomes a folder that GOPROXY=file://PROXY reads: @v/list, .info, .mod, .zip.
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: modzip DIR MODULE VERSION PROXY")
	}
	if err := write(os.Args[1], module.Version{Path: os.Args[2], Version: os.Args[3]}, os.Args[4]); err != nil {
		log.Fatal(err)
	}
}

func write(dir string, version module.Version, proxy string) error {
	folder := filepath.Join(proxy, filepath.FromSlash(version.Path), "@v")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return err
	}
	texts := map[string]string{
		"list":                    version.Version + "\n",
		version.Version + ".info": fmt.Sprintf("{%q: %q}\n", "Version", version.Version),
		version.Version + ".mod":  string(mod),
	}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	archive, err := os.Create(filepath.Join(folder, version.Version+".zip"))
	if err != nil {
		return err
	}
	defer archive.Close()
	// Takes every file but those of nested modules: tools/ is one, and so is build/.
	return zip.CreateFromDir(archive, version, dir)
}
