#!/usr/bin/env bash
# The tasks of the Java client; clients/conformance/README.md says what each one does.
set -euo pipefail
cd "$(dirname "$0")"
build=$PWD/build
version=$(sed -n 's/^version = "\(.*\)"/\1/p' ../python/pyproject.toml)
maven() { mvn --quiet --batch-mode --no-transfer-progress "$@"; }

# Maven with a local repository of its own and no network: what it would ask the
# central one for comes from the files that the machine's own Maven has.
offline() {
  local known
  known=$(<"$build/classpath")
  cat >settings.xml <<XML
<settings>
  <localRepository>$PWD/repository</localRepository>
  <mirrors>
    <mirror>
      <id>files</id>
      <mirrorOf>central</mirrorOf>
      <url>file://${known%%/io/grpc/*}</url>
    </mirror>
  </mirrors>
</settings>
XML
  maven --settings settings.xml "$@"
}

case $1 in
needs)
  { command -v mvn && command -v javac; } >/dev/null ||
    { echo "java: install a JDK 17 or newer and Maven 3.8.2 or newer (packages of your system)" && exit 1; }
  ;;
build)
  # Deployed into a repository of files, as a registry would hand it out; `fresh` installs from there.
  rm -rf "$build/repository"
  maven deploy dependency:build-classpath -DskipTests -Dmaven.install.skip \
    -DaltDeploymentRepository="build::file://$build/repository" \
    -Dmdep.outputFile="$build/classpath" -Dmdep.includeScope=test
  test -f "$build/repository/dev/aster/aster-client/$version/aster-client-$version-sources.jar"
  ;;
lint)
  # The compiler's lints are errors in every build (pom.xml: -Xlint -Werror); this one compiles all anew.
  rm -rf "$build/classes" "$build/test-classes"
  maven test-compile
  ;;
test)
  maven test
  ;;
conformance)
  exec java -cp "$build/test-classes:$build/classes:$(<"$build/classpath")" dev.aster.conformance.Runner "$2"
  ;;
fresh)
  cd "$2"
  cat >pom.xml <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>fresh</groupId>
  <artifactId>fresh</artifactId>
  <version>1</version>
  <repositories>
    <repository>
      <id>build</id>
      <url>file://$build/repository</url>
    </repository>
  </repositories>
  <dependencies>
    <dependency>
      <groupId>dev.aster</groupId>
      <artifactId>aster-client</artifactId>
      <version>$version</version>
    </dependency>
  </dependencies>
  <build>
    <plugins>
      <plugin>
        <artifactId>maven-dependency-plugin</artifactId>
        <version>3.11.0</version>
      </plugin>
    </plugins>
  </build>
</project>
XML
  offline dependency:build-classpath -Dmdep.outputFile="$PWD/classpath"
  ;;
snippet)
  cd "$2"
  cp "$3" Program.java
  java -cp "$(<classpath)" Program.java
  ;;
*)
  echo "unknown task $1" >&2
  exit 2
  ;;
esac
