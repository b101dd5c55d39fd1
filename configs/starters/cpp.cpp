#include <iostream>
#include <string>
#include <vector>

int main() {
    std::vector<std::string> names{"Ada", "Bjarne", "Grace"};
    for (const auto& name : names) {
        std::cout << "Hello, " << name << "!\n";
    }
}
