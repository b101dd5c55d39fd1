import matplotlib.pyplot as plt
import numpy as np

x = np.linspace(0, 4 * np.pi, 400)
plt.plot(x, np.sin(x), label="sin x")
plt.plot(x, np.sin(x) / np.sqrt(1 + x), label="sin x / √(1 + x)")
plt.legend()
plt.savefig("plot.png")
